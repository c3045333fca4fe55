"""Receipts kept: one file for each kind of store, one that writes to it, one that knows them all."""
