"""The boundary: what business systems hand over and get back."""
