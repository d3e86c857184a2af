"""How gradients are summed and weights spread: one interface, several ways, the same bytes."""
