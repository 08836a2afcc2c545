"""How clients speak to a model: bodies read into inputs, outputs written as predictions."""
