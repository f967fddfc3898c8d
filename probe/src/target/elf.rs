//! Where functions lie in a program or library file, by name: for probes on them. Reads symbol tables (`.dynsym` and
//! `.symtab`) in pieces, so that a library of gigabytes costs no memory, and nothing at all of files without the names.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use memchr::memmem;
use object::elf::{PF_X, PT_LOAD, SHN_UNDEF, SHT_DYNSYM, SHT_SYMTAB, STT_FUNC};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, Sym as _};
use object::{Endianness, ReadCache, pod};

type Header = object::elf::FileHeader64<Endianness>;
type Symbol = object::elf::Sym64<Endianness>;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// A function that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Function {
    /// Which of the names that were asked for.
    pub name: usize,
    /// Offset of its first instruction in the file, bytes.
    pub offset: u64,
    /// Bytes that belong to it.
    pub size: u64,
}

/// Finds functions that a file defines, exported or local, each place once, in the order of the names. Empty for a file
/// that is no 64-bit ELF, has no symbols, or none of these names.
///
/// # Errors
/// When the file cannot be read.
pub fn functions(file: &File, names: &[&str]) -> io::Result<Vec<Function>> {
    let mut found = Vec::new();
    let Some(layout) = layout(file) else { return Ok(found) };
    for table in &layout.tables {
        let wanted = name_offsets(file, table, names)?;
        if !wanted.is_empty() {
            found_in(file, &layout, table, &wanted, &mut found)?;
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// What of the headers matters here.
struct Layout {
    endian: Endianness,
    /// Executable segments: address, offset in the file, size there.
    code: Vec<(u64, u64, u64)>,
    tables: Vec<Table>,
}

/// A symbol table with its strings: offsets and sizes in the file.
struct Table {
    symbols: (u64, u64),
    strings: (u64, u64),
}

/// None for a file that is no 64-bit ELF or whose headers lie.
fn layout(file: &File) -> Option<Layout> {
    let cache = ReadCache::new(file);
    let header = Header::parse(&cache).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, &cache).ok()?;
    let is_code = |segment: &&object::elf::ProgramHeader64<Endianness>| {
        segment.p_type(endian) == PT_LOAD && segment.p_flags(endian).0 & PF_X.0 != 0
    };
    let place = |segment: &object::elf::ProgramHeader64<Endianness>| {
        (segment.p_vaddr(endian), segment.p_offset(endian), segment.p_filesz(endian))
    };
    let code = segments.iter().filter(is_code).map(place).collect();
    let sections = header.section_headers(endian, &cache).ok()?;
    let tables = sections
        .iter()
        .filter(|section| matches!(section.sh_type(endian), SHT_DYNSYM | SHT_SYMTAB))
        .filter_map(|section| {
            let strings = sections.get(usize::try_from(section.sh_link(endian)).ok()?)?;
            Some(Table {
                symbols: (section.sh_offset(endian), section.sh_size(endian)),
                strings: (strings.sh_offset(endian), strings.sh_size(endian)),
            })
        })
        .collect();
    Some(Layout { endian, code, tables })
}

/// Where the names stand among a table's strings: offset there, and which name. A name may also be the end of another.
fn name_offsets(file: &File, table: &Table, names: &[&str]) -> io::Result<Vec<(u64, usize)>> {
    let terminated: Vec<Vec<u8>> = names.iter().map(|name| [name.as_bytes(), b"\0"].concat()).collect();
    let finders: Vec<_> = terminated.iter().map(memmem::Finder::new).collect();
    let longest = terminated.iter().map(Vec::len).max().unwrap_or_default();
    let mut found = Vec::new();
    let (start, size) = table.strings;
    let mut at = 0;
    while at < size {
        // Pieces overlap, so that a name across their border is whole in one of them.
        let piece = read_piece(file, start, at, size, PIECE + longest)?;
        for (name, finder) in finders.iter().enumerate() {
            found.extend(finder.find_iter(&piece).map(|position| (at + position as u64, name)));
        }
        if piece.len() <= PIECE {
            break;
        }
        at += PIECE as u64;
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The functions of a table with these names.
fn found_in(
    file: &File,
    layout: &Layout,
    table: &Table,
    wanted: &[(u64, usize)],
    found: &mut Vec<Function>,
) -> io::Result<()> {
    const AT_ONCE: usize = PIECE / size_of::<Symbol>() * size_of::<Symbol>();
    let (start, size) = table.symbols;
    let mut at = 0;
    while at < size {
        let piece = read_piece(file, start, at, size, AT_ONCE)?;
        let symbols = pod::slice_from_bytes::<Symbol>(&piece, piece.len() / size_of::<Symbol>());
        for symbol in symbols.map(|(symbols, _)| symbols).unwrap_or_default() {
            let name = u64::from(symbol.st_name(layout.endian));
            let Ok(index) = wanted.binary_search_by_key(&name, |(offset, _)| *offset) else { continue };
            let is_defined = symbol.st_type() == STT_FUNC && symbol.st_shndx(layout.endian) != SHN_UNDEF;
            let address = symbol.st_value(layout.endian);
            let place = layout.code.iter().find_map(|(vaddr, offset, size)| {
                let into = address.checked_sub(*vaddr).filter(|into| into < size)?;
                offset.checked_add(into)
            });
            if let Some(offset) = place.filter(|_| is_defined) {
                found.push(Function { name: wanted[index].1, offset, size: symbol.st_size(layout.endian) });
            }
        }
        if piece.len() < AT_ONCE {
            break;
        }
        at += AT_ONCE as u64;
    }
    Ok(())
}

/// Up to `len` bytes at `at` of a range of the file; fewer at the end of either.
fn read_piece(file: &File, start: u64, at: u64, size: u64, len: usize) -> io::Result<Vec<u8>> {
    let len = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX).min(len);
    let mut piece = vec![0; len];
    let mut filled = 0;
    while filled < len {
        let Some(from) = start.checked_add(at + filled as u64) else { break };
        match file.read_at(&mut piece[filled..], from)? {
            0 => break,
            n => filled += n,
        }
    }
    piece.truncate(filled);
    Ok(piece)
}

#[cfg(test)]
#[path = "elf_tests.rs"]
mod tests;
