"""Durable rows: the contract, the stored form of records, and one package per database."""
