"""What AWS says of a region's markets: prices, spot prices, placement scores, interruption bands, quotas."""
