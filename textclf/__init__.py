"""The seeded k-fold objective: tables in, out-of-fold (OOF) and test probabilities out."""
