"""Which answers people are asked about, what their labels come to, and how they go into the dataset: rules without I/O."""
