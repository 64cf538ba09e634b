"""The assets, one module a group; they meet through their names alone."""
