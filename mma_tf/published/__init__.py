"""Models and figures that are published with the checkout."""
