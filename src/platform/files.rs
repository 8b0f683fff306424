//! How many files, which connections are, this process may have open. Called by [`run`](crate::run).

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use tracing::warn;

/// Files beside the connections: listeners, the store's and those of a backup, the standard ones.
const OTHERS: usize = 256;

/// Sees to it that so many connections may be open, as far as the system lets it. Shells and service
/// managers allow few to begin with (1024), for programs that could not deal with more.
pub(crate) fn allow(connections: usize) {
    let wanted = connections.saturating_add(OTHERS);
    let wanted = rlim_t::try_from(wanted).unwrap_or(rlim_t::MAX);
    let Ok((usual, most)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    if usual >= wanted {
        return;
    }
    let allowed = wanted.min(most);
    let raised = setrlimit(Resource::RLIMIT_NOFILE, allowed, most);
    if raised.is_err() || allowed < wanted {
        let files = if raised.is_ok() { allowed } else { usual };
        warn!(name: "server.open_files", "no more than {files} files may be open here, too few for \
            net.max_connections: raise the hard limit (ulimit -n, LimitNOFILE)");
    }
}
