//! No randomness. `ring` asks for a source wherever it is built; verifying needs none, so the one
//! given here always fails, and nothing in the page can be a random number by mistake.

use getrandom::{Error, register_custom_getrandom};

fn none(_: &mut [u8]) -> Result<(), Error> {
    Err(Error::UNSUPPORTED)
}

register_custom_getrandom!(none);
