"""The packages that simulated eSIMs buy, with names in the style of the vendor.

They cover every kind of package in the vendor's catalogue: limited and unlimited data, SMS and
voice, regions with several locations, names outside ASCII, and pseudo-countries. A MB has
1 048 576 bytes.
"""

from __future__ import annotations

from typing import Final

from exporter.vendors.simulation import CataloguePackage, Location

ALAND: Final = Location("Åland Islands", 2)
FRANCE: Final = Location("France", 1)
GERMANY: Final = Location("Germany", 1)
JAPAN: Final = Location("Japan", 9)
SPAIN: Final = Location("Spain", 1)
TURKIYE: Final = Location("Türkiye", 3)
UNITED_STATES: Final = Location("United States", -6)

CATALOGUE: Final = (
    CataloguePackage(
        "esim-afghanistan-7days-1gb-all",
        "1 GB - 7 Days",
        days=7,
        data=1024,
        locations=(Location("Afghanistan", 4.5),),
        price=9.5,
        popularity=4,
    ),
    CataloguePackage(
        "esim-france-7days-3gb-all",
        "3 GB - 7 Days",
        days=7,
        data=3072,
        locations=(FRANCE,),
        price=8.0,
        popularity=6,
    ),
    CataloguePackage(
        "esim-turkiye-3days-500mb-all",
        "500 MB - 3 Days",
        days=3,
        data=500,
        locations=(TURKIYE,),
        price=3.5,
        popularity=6,
    ),
    CataloguePackage(
        "esim-aland-islands-7days-1gb-all",
        "1 GB - 7 Days",
        days=7,
        data=1024,
        locations=(ALAND,),
        price=5.0,
    ),
    CataloguePackage(
        "esim-cote-divoire-15days-2gb-all",
        "2 GB - 15 Days",
        days=15,
        data=2048,
        locations=(Location("Côte d'Ivoire", 0),),
        price=14.0,
    ),
    CataloguePackage(
        "esim-canada-15days-un2gb-all",
        "Unlimited Data - 15 Days (2 GB / 128 KBPS)",
        days=15,
        data=None,
        locations=(Location("Canada", -5),),
        price=36.0,
        popularity=2,
    ),
    CataloguePackage(
        "esim-japan-5days-un1gb-all",
        "Unlimited Data - 5 Days (1 GB / 128 KBPS)",
        days=5,
        data=None,
        locations=(JAPAN,),
        price=15.5,
        popularity=4,
    ),
    CataloguePackage(
        "esim-united-states-30days-20gb-all",
        "20 GB - 30 Days + 100 SMS + 500 Minutes",
        days=30,
        data=20480,
        locations=(UNITED_STATES,),
        price=42.0,
        sms=100,
        voice=500,
        popularity=2,
    ),
    CataloguePackage(
        "esim-thailand-10days-15gb-all",
        "15 GB - 10 Days + 100 Minutes",
        days=10,
        data=15360,
        locations=(Location("Thailand", 7),),
        price=12.0,
        voice=100,
        popularity=3,
    ),
    CataloguePackage(
        "esim-europe-30days-10gb-all",
        "10 GB - 30 Days",
        days=30,
        data=10240,
        locations=(FRANCE, GERMANY, SPAIN, ALAND, TURKIYE),
        price=24.0,
        popularity=5,
    ),
    CataloguePackage(
        "esim-africa-adventure-15days-3gb-all",
        "3 GB - 15 Days",
        days=15,
        data=3072,
        locations=(Location("Africa Adventure", 2),),
        price=29.0,
    ),
    CataloguePackage(
        "esim-global-15days-5gb-all",
        "5 GB - 15 Days",
        days=15,
        data=5120,
        locations=(UNITED_STATES, JAPAN, GERMANY, Location("Australia", 10)),
        price=31.0,
        popularity=2,
    ),
)
