//! Defaults below what a job says.

use super::JobTable;

impl JobTable {
    /// This job, with the defaults where it says nothing.
    pub(in crate::jobs) fn over(self, defaults: &JobTable) -> JobTable {
        let JobTable {
            source,
            password,
            store,
            selection,
            copies,
            memory,
            split_above,
            part_size,
            max_parts,
            retry_for,
            stall_timeout,
            lock_timeout,
            rate_limit,
            max_snapshot_age,
            max_blocking,
            connections,
            compress,
            storage_class,
            allow_incomplete,
            globals,
            role_passwords,
            verify,
            retention,
            check,
            schedule,
            timezone,
            jitter,
            catch_up,
            notify,
        } = self;
        let or = defaults.clone();
        JobTable {
            source: source.or(or.source),
            password: password.or(or.password),
            store: store.or(or.store),
            selection: selection.or(or.selection),
            copies: copies.or(or.copies),
            memory: memory.or(or.memory),
            split_above: split_above.or(or.split_above),
            part_size: part_size.or(or.part_size),
            max_parts: max_parts.or(or.max_parts),
            retry_for: retry_for.or(or.retry_for),
            stall_timeout: stall_timeout.or(or.stall_timeout),
            lock_timeout: lock_timeout.or(or.lock_timeout),
            rate_limit: rate_limit.or(or.rate_limit),
            max_snapshot_age: max_snapshot_age.or(or.max_snapshot_age),
            max_blocking: max_blocking.or(or.max_blocking),
            connections: connections.or(or.connections),
            compress: compress.or(or.compress),
            storage_class: storage_class.or(or.storage_class),
            allow_incomplete: allow_incomplete.or(or.allow_incomplete),
            globals: globals.or(or.globals),
            role_passwords: role_passwords.or(or.role_passwords),
            verify: verify.or(or.verify),
            retention: retention.or(or.retention),
            check: check.or(or.check),
            schedule: schedule.or(or.schedule),
            timezone: timezone.or(or.timezone),
            jitter: jitter.or(or.jitter),
            catch_up: catch_up.or(or.catch_up),
            notify: notify.or(or.notify),
        }
    }
}
