//! What any object can have, whatever its kind: comments, privileges, security labels.
//!
//! May import: error, model. Always true here: facets find their object by [`crate::model::Address`], never by kind.
