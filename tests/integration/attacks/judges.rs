//! What judges compute in the clear shows no person.
