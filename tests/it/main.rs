//! The one integration binary: the pgstow that was built, against real servers, a real store and the stock tools.
//!
//! One file a subject; what they share is in [`support`]. Where the servers come from: `tests/parts`.

#![expect(clippy::unwrap_used, reason = "a test stops where something is missing")]

mod attack;
mod bucket;
mod busy_stores;
mod checking;
mod cli;
mod connections;
mod copying;
mod costing;
mod data_plane;
mod databases;
mod doctor;
mod exporting;
mod extensions;
mod failures;
mod faults;
mod faults_of_verbs;
mod fidelity;
mod globals;
mod guiding;
mod half_open;
mod hostile;
mod interop;
mod interop_codecs;
mod job_copies;
mod jobs;
mod kindness;
mod listeners;
mod listing;
mod living;
mod made_along;
mod memory;
mod moving;
mod notifying;
mod past;
mod policies;
mod postgres_tests;
mod preflight;
mod providers;
mod pruning;
mod reconnecting;
mod reporting;
mod restore_order;
mod restoring;
mod resuming;
mod round_trip;
mod row_order;
mod scheduling;
mod selection;
mod selection_contents;
mod selection_far;
mod selection_table;
mod selves;
mod stock_archives;
mod stopping;
mod store;
mod store_failures;
mod support;
mod thawing;
mod tidy;
mod two_servers;
mod typed_rows;
mod verifying;
