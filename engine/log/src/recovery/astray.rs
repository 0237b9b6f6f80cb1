//! Blocks that lie in the wrong slot, as after a misdirected write.
//!
//! A generation counts in one slot. Which one of several that name it is told by what lies there:
//! header and trailer together, then frames. What another slot names it by went astray, and is as
//! lost: that slot is looked at again without it.

use std::collections::BTreeMap;

use weir_reactor::{File, Reactor};

use super::Recovery;
use super::slots::Slots;
use crate::error::RecoveryError;
use crate::ledger::LedgerState;
use crate::log::FileOf;
use crate::segment::{SegmentHeader, SegmentKind, Trailer, slot_path};

/// How much of a slot that holds nothing is looked at: a first frame lies in it, unless the log has
/// tens of thousands of shards.
const FRONT_BYTES: u64 = 1 << 20;

/// A slot that names a generation.
#[derive(Debug, Clone, Copy)]
struct Claim {
    slot: u32,
    generation: u64,
    has_header: bool,
    has_trailer: bool,
}

impl<R: Reactor> Recovery<'_, R> {
    /// Leaves every generation to one slot. Each round takes one generation from one slot for good.
    pub(crate) async fn tell_apart(
        &self,
        ledger: &LedgerState,
        slots: &mut Slots,
    ) -> Result<(), RecoveryError> {
        while let Some(claim) = self.false_claim(ledger, slots).await? {
            slots.sealed.retain(|f| f.segment.slot != claim.slot);
            slots.unsealed.retain(|u| u.slot != claim.slot);
            slots.astray.insert((claim.slot, claim.generation));
            self.look_at(claim.slot, ledger, slots).await?;
        }
        Ok(())
    }

    /// Whether the header of a slot is not that of the segment in it, as the rest tells. A slot is used
    /// again only after the catalog dropped what it held, and headers are written before frames: a
    /// trailer that counts is of no other generation than its header, nor is a frame that counts newer
    /// than a header that does not.
    pub(crate) async fn header_is_astray(
        &self,
        path: &str,
        file: &FileOf<R>,
        (header, trailer): (&SegmentHeader, Option<&Trailer>),
        ledger: &LedgerState,
    ) -> Result<bool, RecoveryError> {
        let recorded = |generation| ledger.segments.contains(&generation);
        let counts = |generation| recorded(generation) || generation > ledger.known_generation;
        let is_in_use = match header.kind {
            SegmentKind::Log => counts(header.generation),
            SegmentKind::Settled => recorded(header.generation),
            SegmentKind::Void => false,
        };
        let other = trailer.filter(|t| t.generation != header.generation);
        if let Some(other) = other.filter(|trailer| recorded(trailer.generation)) {
            // If it is the trailer that went astray, another slot names its generation too.
            if !is_in_use {
                return Ok(true);
            }
            let frames = self.frame_counts(path, file).await?;
            let of = |generation| frames.get(&generation).copied().unwrap_or(0);
            return Ok(of(other.generation) > of(header.generation));
        }
        if is_in_use {
            return Ok(false);
        }
        let length = self.identity.segment_bytes.min(FRONT_BYTES) as usize;
        let front = file.read(0, length).await;
        let front = front.map_err(|e| self.read_failed(path, 0, &e))?;
        let mut frames = self.frames_of(front.as_ref()).into_iter();
        Ok(frames.any(|(generation, _)| generation > header.generation && counts(generation)))
    }

    async fn false_claim(
        &self,
        ledger: &LedgerState,
        slots: &Slots,
    ) -> Result<Option<Claim>, RecoveryError> {
        let sealed = slots.sealed.iter().map(|found| Claim {
            slot: found.segment.slot,
            generation: found.segment.generation,
            has_header: found.header.is_some(),
            has_trailer: true,
        });
        let unsealed = slots.unsealed.iter().map(|segment| Claim {
            slot: segment.slot,
            generation: segment.generation,
            has_header: segment.header.is_some(),
            has_trailer: false,
        });
        let mut claims: BTreeMap<u64, Vec<Claim>> = BTreeMap::new();
        for claim in sealed.chain(unsealed) {
            claims.entry(claim.generation).or_default().push(claim);
        }
        // Nothing of a generation that was voided comes back, wherever a block of it still lies.
        let is_void = |g: &u64| slots.voided.contains(g) && !ledger.segments.contains(g);
        let voided = claims.iter().find(|(generation, _)| is_void(generation));
        let voided = voided.and_then(|(_, claims)| claims.first());
        if let Some(claim) = voided {
            return Ok(Some(*claim));
        }
        let Some(rivals) = claims.into_values().find(|rivals| rivals.len() > 1) else {
            return Ok(None);
        };
        let mut weakest = None;
        for claim in rivals {
            let path = slot_path(self.log, claim.slot);
            let file = self.open(&path).await?;
            let frames = self.frame_counts(&path, &file).await?;
            let frames = frames.get(&claim.generation).copied().unwrap_or(0);
            let whole = claim.has_header && claim.has_trailer;
            let slot = std::cmp::Reverse(claim.slot);
            let weight = (whole, frames, claim.has_trailer, slot);
            if weakest.is_none_or(|(least, _)| weight < least) {
                weakest = Some((weight, claim));
            }
        }
        Ok(weakest.map(|(_, claim)| claim))
    }

    /// How many frames of each generation lie in a slot, each at a place of its own.
    async fn frame_counts(
        &self,
        path: &str,
        file: &FileOf<R>,
    ) -> Result<BTreeMap<u64, usize>, RecoveryError> {
        let mut counts = BTreeMap::new();
        for (generation, _) in self.frames_in(path, file).await? {
            *counts.entry(generation).or_default() += 1;
        }
        Ok(counts)
    }
}
