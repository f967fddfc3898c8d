//! Looks up the struct offsets that the kernel programs need in the running kernel's BTF.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use btf_rs::{Backend, Btf, Struct, Type};
use probe_common::kern::KernOffsets;

/// Nesting of anonymous structs and unions that is followed; the kernel uses three at most.
const MAX_NESTING: u32 = 8;

/// Reads the offsets from the kernel's types.
pub(super) fn offsets(btf: &Btf) -> Result<KernOffsets> {
    let mut offsets = KernOffsets::default();
    for (structure, member, set) in KernOffsets::FIELDS {
        let bits = member
            .split('|')
            .find_map(|path| match path {
                "?" => Some(0),
                path => member_bits(btf, structure, path),
            })
            .with_context(|| format!("failed to find `{structure}.{member}` in this kernel's types"))?;
        if bits % 8 != 0 {
            bail!("failed to use `{structure}.{member}`: it is a bit field in this kernel");
        }
        set(&mut offsets, bits / 8);
    }
    Ok(offsets)
}

/// Opens a BTF file (`/sys/kernel/btf/vmlinux`, kernels built with `CONFIG_DEBUG_INFO_BTF`, 5.4 and later).
///
/// Mapping the file takes 8 ms and no memory where parsing it all takes 260 ms and 40 MB, but the kernel's
/// own file can be mapped from 6.16 on only.
pub(super) fn open(btf_file: &Path) -> Result<Btf> {
    Btf::from_file_with_backend(btf_file, Backend::Mmap)
        .or_else(|_| Btf::from_file(btf_file))
        .map_err(|error| anyhow!("{error}"))
        .with_context(|| {
            format!(
                "failed to read the kernel's type information `{}`; it needs a kernel with CONFIG_DEBUG_INFO_BTF=y",
                btf_file.display()
            )
        })
}

/// Bit offset of a member of the struct with this name; several structs may bear one name, the first that
/// has the member counts.
fn member_bits(btf: &Btf, structure: &str, member: &str) -> Option<u32> {
    // It has none of that name.
    let Ok(types) = btf.resolve_types_by_name(structure) else { return None };
    types.iter().find_map(|found| match found {
        Type::Struct(found) | Type::Union(found) => find(btf, found, member, MAX_NESTING),
        _ => None,
    })
}

/// Searches a struct and the anonymous structs and unions inside it.
fn find(btf: &Btf, structure: &Struct, wanted: &str, nesting: u32) -> Option<u32> {
    let (first, rest) = wanted.split_once('.').map_or((wanted, None), |(first, rest)| (first, Some(rest)));
    for member in &structure.members {
        let name = btf.resolve_name(member).unwrap_or_default();
        if name == first {
            let Some(rest) = rest else { return Some(member.bit_offset()) };
            let Ok(Type::Struct(inner) | Type::Union(inner)) = btf.resolve_chained_type(member) else {
                return None;
            };
            return Some(member.bit_offset() + find(btf, &inner, rest, nesting)?);
        }
        if name.is_empty()
            && nesting > 0
            && let Ok(Type::Struct(inner) | Type::Union(inner)) = btf.resolve_chained_type(member)
            && let Some(bits) = find(btf, &inner, wanted, nesting - 1)
        {
            return Some(member.bit_offset() + bits);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a kernel with BTF every offset is found, and the ones that cannot be at the start are not 0.
    #[test]
    fn resolves_the_running_kernel() {
        let path = Path::new("/sys/kernel/btf/vmlinux");
        let found = offsets(&open(path).unwrap()).unwrap();
        assert_ne!(found.inet_sport, 0);
        assert_eq!(found.skc_family, 16);
        assert_eq!(found.tcp_write_seq % 4, 0);
        for offset in
            [found.task_pid, found.task_files, found.file_private_data, found.skb_data, found.sk_ack_backlog]
        {
            assert_ne!(offset, 0);
        }
    }

    /// A file that is no BTF is an error with its name, not a panic.
    #[test]
    fn refuses_other_files() {
        let error = open(Path::new("/proc/self/cmdline")).map(drop).unwrap_err();
        assert!(format!("{error:#}").contains("/proc/self/cmdline"), "{error:#}");
    }
}
