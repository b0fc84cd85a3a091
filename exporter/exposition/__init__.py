"""The metric families and their text: rendered when records change, joined for each scrape."""
