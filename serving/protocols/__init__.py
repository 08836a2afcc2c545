"""How clients speak to a model: each protocol reads bodies into inputs and writes outputs as predictions."""
