//! What routes do, each kept once: 200,000 routes have a handful.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use wayleave_netlink::NexthopId;

use super::way::Content;

/// The number of a content in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ContentId(NonZeroU32);

/// All contents in use, with the number of their users.
#[derive(Debug, Default)]
pub(super) struct Contents {
    numbers: BTreeMap<Arc<Content>, ContentId>,
    /// By number, less one.
    contents: Vec<Option<(Arc<Content>, u32)>>,
    free: Vec<ContentId>,
    /// How many contents go through a nexthop object.
    through: BTreeMap<NexthopId, u32>,
}

impl Contents {
    /// Takes a content into use, once more.
    pub(super) fn claim(&mut self, content: &Content) -> ContentId {
        if let Some(id) = self.numbers.get(content).copied() {
            self.again(id);
            return id;
        }
        if let Some(object) = content.nexthop {
            *self.through.entry(object).or_default() += 1;
        }
        let content = Arc::new(content.clone());
        let kept = Some((Arc::clone(&content), 1));
        let id = match self.free.pop() {
            Some(id) => {
                self.contents[index(id)] = kept;
                id
            }
            None => {
                self.contents.push(kept);
                let number = u32::try_from(self.contents.len())
                    .ok()
                    .and_then(NonZeroU32::new);
                ContentId(number.expect("invariant: there are fewer contents than routes"))
            }
        };
        self.numbers.insert(content, id);
        id
    }

    /// Takes one that is in use into use once more.
    pub(super) fn again(&mut self, id: ContentId) {
        if let Some((_, users)) = &mut self.contents[index(id)] {
            *users += 1;
        }
    }

    /// Gives a content up, once.
    pub(super) fn release(&mut self, id: ContentId) {
        let Some((_, users)) = &mut self.contents[index(id)] else {
            return;
        };
        *users -= 1;
        if *users == 0
            && let Some((content, _)) = self.contents[index(id)].take()
        {
            self.numbers.remove(&content);
            self.free.push(id);
            if let Some(object) = content.nexthop
                && let Some(count) = self.through.get_mut(&object)
            {
                *count -= 1;
                if *count == 0 {
                    self.through.remove(&object);
                }
            }
        }
    }

    /// Whether any content in use goes through an object.
    pub(super) fn go_through(&self, object: NexthopId) -> bool {
        self.through.contains_key(&object)
    }

    pub(super) fn get(&self, id: ContentId) -> &Content {
        let content = self.contents[index(id)].as_ref();
        &content.expect("invariant: a content in use is kept").0
    }

    /// The number of a content, if it is in use.
    pub(super) fn find(&self, content: &Content) -> Option<ContentId> {
        self.numbers.get(content).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ContentId, &Content)> {
        self.numbers.iter().map(|(content, id)| (*id, &**content))
    }
}

fn index(id: ContentId) -> usize {
    id.0.get() as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_is_kept_as_long_as_somebody_uses_it() {
        let mut contents = Contents::default();
        let hole = Content::blackhole();
        let id = contents.claim(&hole);
        assert_eq!(contents.claim(&hole), id);
        contents.again(id);
        contents.release(id);
        contents.release(id);
        assert_eq!(contents.get(id), &hole);
        assert_eq!(contents.find(&hole), Some(id));
        contents.release(id);
        assert_eq!(contents.find(&hole), None);
        assert_eq!(contents.claim(&hole), id, "the number is free again");
        assert_eq!(contents.iter().count(), 1);
    }
}
