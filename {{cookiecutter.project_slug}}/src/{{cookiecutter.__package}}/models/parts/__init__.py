"""What models share: a change here fits every model anew."""
