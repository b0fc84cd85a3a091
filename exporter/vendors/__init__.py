"""One module per vendor: how a delivery is verified, and its wire format translated to events."""
