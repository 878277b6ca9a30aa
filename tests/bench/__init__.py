"""How fast Slipway is, as ratios against plain kubectl within one run; `make bench` prints them."""
