//! The kernel as everybody above sees it: apply changes, list objects.

use crate::{
    change::Change,
    error::KernelError,
    link::{Link, LinkId},
    object::{Dump, Object, Progress, RouteFilter},
    route::Route,
};

/// A kernel that can be changed and listed: the real one ([`Socket`](crate::Socket),
/// [`Netlink`](crate::Netlink)) or a fake ([`FakeKernel`](crate::FakeKernel)).
///
/// All calls return without waiting for anybody but the kernel, which works a request off inside
/// the system call: about 5 us per route. A caller on an async task hands over at most a few
/// hundred changes at a time and yields in between.
pub trait Kernel {
    /// Applies the changes in their order and says for each what became of it. One that fails
    /// does not keep the next ones from being applied.
    ///
    /// The answer has exactly one result per change.
    fn apply(&mut self, changes: &[Change]) -> Vec<Result<(), KernelError>>;

    /// Begins a listing. A listing under way is abandoned.
    ///
    /// # Errors
    /// When the request cannot be sent.
    fn begin_dump(&mut self, what: &Dump) -> Result<(), KernelError>;

    /// Appends the next part of the listing to `into`: some hundred objects, within a millisecond.
    /// After [`Progress::Done`] or an error the listing is over.
    ///
    /// # Errors
    /// [`KernelError::Interrupted`]: the objects changed meanwhile and what was appended since
    /// [`begin_dump`](Kernel::begin_dump) may lack some, or no listing is under way; begin again.
    fn next_dump(&mut self, into: &mut Vec<Object>) -> Result<Progress, KernelError>;

    /// One interface; `None` if there is none of that name or number.
    ///
    /// # Errors
    /// When the kernel cannot be asked.
    fn link(&mut self, link: &LinkId) -> Result<Option<Link>, KernelError>;

    /// One whole listing at once, begun again up to [`DUMP_ATTEMPTS`] times when interrupted.
    ///
    /// # Errors
    /// [`KernelError::Interrupted`] if it was interrupted every time.
    fn dump(&mut self, what: &Dump) -> Result<Vec<Object>, KernelError> {
        let mut objects = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            objects.clear();
            match dump_once(self, what, &mut objects) {
                Err(KernelError::Interrupted) => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(objects),
            }
        }
        Err(KernelError::Interrupted)
    }

    /// The routes that pass a filter.
    ///
    /// # Errors
    /// As [`dump`](Kernel::dump).
    fn routes(&mut self, filter: RouteFilter) -> Result<Vec<Route>, KernelError> {
        let objects = self.dump(&Dump::Routes(filter))?;
        Ok(objects
            .into_iter()
            .filter_map(|object| {
                if let Object::Route(route) = object {
                    Some(route)
                } else {
                    None
                }
            })
            .collect())
    }

    /// Applies one change.
    ///
    /// # Errors
    /// What became of it.
    fn apply_one(&mut self, change: &Change) -> Result<(), KernelError> {
        self.apply(std::slice::from_ref(change))
            .pop()
            .unwrap_or(Err(KernelError::Overrun))
    }
}

/// How often [`Kernel::dump`] tries before it gives up on a listing that is always interrupted.
pub const DUMP_ATTEMPTS: usize = 16;

fn dump_once<K: Kernel + ?Sized>(
    kernel: &mut K,
    what: &Dump,
    objects: &mut Vec<Object>,
) -> Result<(), KernelError> {
    kernel.begin_dump(what)?;
    while kernel.next_dump(objects)? == Progress::More {}
    Ok(())
}
