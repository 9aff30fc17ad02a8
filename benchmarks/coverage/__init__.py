"""How often what is printed holds, by simulation with the functions that a run calls: see `__main__`."""
