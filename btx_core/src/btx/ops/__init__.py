"""Operations: what people and machines outside are told of a run."""
