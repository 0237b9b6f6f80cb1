//! What a bad network does to one connection, drawn from a seed.

use crate::chance::Chance;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the client to the server.
    Up,
    Down,
}

/// How bytes are cut on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As they come.
    Whole,
    /// One at a time for a while, then in pieces.
    Single,
    /// In pieces of 1 to 300.
    Pieces,
    /// What came within some milliseconds in one go.
    Gathered,
    /// Later than they came.
    Late,
}

/// What happens once so many bytes went one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing: the client ends it in good order.
    Lasts,
    /// Both sides see a reset.
    Reset,
    /// The receiving side sees an end in the middle; the other way goes on.
    Finish,
    /// The receiving side takes nothing for a while, then goes on.
    Stall,
    /// Nothing goes either way any more. The client gives up, and the server's side lives on for a
    /// while without a word before it ends.
    Vanish,
    /// The same, and then a reset.
    BlackHole,
}

/// One connection's fate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) up: Shape,
    pub(super) down: Shape,
    pub(super) end: End,
    /// Where it happens.
    pub(super) way: Way,
    pub(super) at: u64,
    /// How long whoever waits there has to.
    pub(super) hold_ms: u64,
}

const SHAPES: [Shape; 5] = [
    Shape::Whole,
    Shape::Single,
    Shape::Pieces,
    Shape::Gathered,
    Shape::Late,
];
pub(super) const ENDS: [End; 6] = [
    End::Lasts,
    End::Reset,
    End::Finish,
    End::Stall,
    End::Vanish,
    End::BlackHole,
];

impl Fault {
    /// A connection that is as good as can be.
    pub(super) const NONE: Self = Self {
        up: Shape::Whole,
        down: Shape::Whole,
        end: End::Lasts,
        way: Way::Up,
        at: 0,
        hold_ms: 0,
    };

    pub(super) fn draw(chance: &mut Chance) -> Self {
        let mut shape = || SHAPES[(chance.next() % SHAPES.len() as u64) as usize];
        let (up, down) = (shape(), shape());
        let end = ENDS[(chance.next() % ENDS.len() as u64) as usize];
        let (way, at) = if chance.one_in(2) {
            (Way::Up, chance.between(1, 120_000))
        } else {
            // Acknowledgements are short.
            (Way::Down, chance.between(1, 2_000))
        };
        Self {
            up,
            down,
            end,
            way,
            at,
            hold_ms: chance.between(50, 700),
        }
    }

    /// A slow one that loses nothing.
    pub(super) fn harmless(chance: &mut Chance) -> Self {
        Self {
            up: Shape::Single,
            down: [Shape::Pieces, Shape::Gathered, Shape::Late][(chance.next() % 3) as usize],
            ..Self::NONE
        }
    }
}
