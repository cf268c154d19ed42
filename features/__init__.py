"""One row per customer, account, product, supplier and open line, as of a moment; SQL that reads only known facts."""
