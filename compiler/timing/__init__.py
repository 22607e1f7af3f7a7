"""Engine operations timed through the engine protocol, and the cost model fitted to them."""
