//! In the place of the bar, without the feature `progress`.

use super::tally::{Row, Tally};

/// There is none.
#[derive(Debug)]
pub(super) enum Bar {}

impl Bar {
    pub(super) fn new(_tally: &Tally) -> Option<Bar> {
        None
    }

    pub(super) fn draw(&mut self, _tally: &Tally, _text: String, _rows: &[Row]) {
        match *self {}
    }

    pub(super) fn print(&self, _lines: &[String]) {
        match *self {}
    }

    pub(super) fn end(self) {
        match self {}
    }
}
