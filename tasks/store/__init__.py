"""Where everything lies: storage roots, content keys, manifests, pointers, tables."""
