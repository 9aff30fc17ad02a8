"""Which vectors are nearest to which: exact search, and rankings of all others."""
