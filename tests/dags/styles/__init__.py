"""DAG files in the styles in which people write them, for the stock operator; the test changes their import."""
