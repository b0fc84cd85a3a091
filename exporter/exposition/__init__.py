"""The metric families and their text: rendered and deflated on change, joined on scrape."""
