//! Loads the sample database of `fixtures/`: a shop that holds every kind of object pgstow dumps.

use crate::Result;
use crate::server::Server;

/// What every version from 12 on understands.
const SHOP: &str = include_str!("../../../fixtures/shop.sql");

/// What newer versions add, in order: the first version that understands it, and the file.
const NEWER: [(u16, &str, &str); 5] = [
    (14, "shop-14.sql", include_str!("../../../fixtures/shop-14.sql")),
    (15, "shop-15.sql", include_str!("../../../fixtures/shop-15.sql")),
    (16, "shop-16.sql", include_str!("../../../fixtures/shop-16.sql")),
    (17, "shop-17.sql", include_str!("../../../fixtures/shop-17.sql")),
    (18, "shop-18.sql", include_str!("../../../fixtures/shop-18.sql")),
];

/// Loads the shop into an empty database, with all that this server's version understands.
pub fn load_shop(server: &Server, database: &str) -> Result<()> {
    load_shop_up_to(server, database, server.major())
}

/// Loads the shop with what versions up to `major` understand, for a dump that goes to an older server.
pub fn load_shop_up_to(server: &Server, database: &str, major: u16) -> Result<()> {
    let _one_at_a_time = server.lock_shared();
    server.execute(database, SHOP).map_err(|error| format!("fixtures/shop.sql: {error}"))?;
    for (since, name, sql) in NEWER {
        if major.min(server.major()) >= since {
            server.execute(database, sql).map_err(|error| format!("fixtures/{name}: {error}"))?;
        }
    }
    // Statistics make the sizes in pg_class real, by which workers are given their share.
    server.execute(database, "ANALYZE")
}
