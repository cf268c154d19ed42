"""One question per file: will this line be cancelled, what is this customer worth, when do goods come."""
