"""One sample through a network, forward, backward and update, with every number of it kept."""
