//! Looks at a catalog before it is trusted: every page, on a thread of its own.
//!
//! redb panics at some pages that make no sense. What panics on this thread is a finding about the
//! catalog, whatever the code that it was found in; the thread's name tells a panic hook so.

use std::collections::BTreeMap;
use std::io;

use weir_log::LedgerState;
use weir_protocol::model::LogId;
use weir_reactor::{BlockingDisk, start_thread};

use super::given_up::GivenUpRows;
use super::store::{Catalog, CatalogError, Contents, Namespace};

/// Name of the thread on which catalogs are looked at. Where a panic ends the process, a panic hook
/// has to turn one on this thread into a sentence.
pub const CATALOG_THREAD: &str = "catalog-look";

/// What a catalog holds.
pub(crate) struct LookedCatalog {
    pub(crate) contents: Contents,
    pub(crate) ledgers: BTreeMap<u32, LedgerState>,
    pub(crate) given_up: GivenUpRows,
    /// Every page is as it was written.
    pub(crate) in_order: bool,
}

/// Why a catalog cannot be used.
pub(crate) struct CatalogFault {
    pub(crate) text: String,
    /// It is damaged, and not of a later build.
    pub(crate) is_rot: bool,
}

/// Reads all of a catalog from a copy in memory. `Err` within is what was found wrong; the outer error
/// is that no thread could be started.
pub(crate) fn look_at_catalog<D: BlockingDisk + Send + 'static>(
    disk: &D,
    namespace: Namespace,
) -> io::Result<Result<LookedCatalog, CatalogFault>> {
    let disk = disk.clone();
    let thread = start_thread(CATALOG_THREAD, None, move || read_all(&disk, namespace))?;
    Ok(match thread.join() {
        Ok(Ok(looked)) => Ok(looked),
        Ok(Err(error)) => Err(CatalogFault {
            is_rot: !matches!(error, CatalogError::Version { .. }),
            text: error.to_string(),
        }),
        Err(_) => Err(CatalogFault {
            is_rot: true,
            text: "a page makes no sense".to_owned(),
        }),
    })
}

fn read_all<D: BlockingDisk>(
    disk: &D,
    namespace: Namespace,
) -> Result<LookedCatalog, CatalogError> {
    let (catalog, in_order) = Catalog::copy(disk, namespace)?;
    let contents = catalog.read(1)?;
    let mut ledgers = BTreeMap::new();
    for log in catalog.logs()? {
        ledgers.insert(log, catalog.ledger(LogId(log))?);
    }
    Ok(LookedCatalog {
        contents,
        ledgers,
        given_up: catalog.given_up()?,
        in_order,
    })
}
