"""What models, and data.py, share: a change here fits every model anew."""
