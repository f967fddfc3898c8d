//! Struct offsets of the running kernel. Rust programs get no CO-RE relocations, so user space looks the
//! offsets up in the kernel's BTF and puts them into the object's instructions before it is loaded (see `constants`).

macro_rules! offsets {
    ($($field:ident: $structure:literal . $path:literal),+ $(,)?) => {
        /// Byte offsets of the kernel struct members that the programs read.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, zerocopy::Immutable, zerocopy::IntoBytes)]
        pub struct KernOffsets {
            $(#[doc = concat!("`", $structure, ".", $path, "`")] pub $field: u32),+
        }

        impl KernOffsets {
            /// Whether all that programs read of the records of perf's tracepoints is known.
            #[must_use]
            pub const fn knows_records(&self) -> bool {
                self.record_sock > 0
                    && self.record_lock > 0
                    && self.record_lock_result > 0
                    && self.record_old_tid > 0
            }

            /// Field by field: struct and member path in BTF (`a.b`; `a|b` where kernels differ; `?` at the end where
            /// some have none, which is 0), and the setter.
            pub const FIELDS: &[(&str, &str, fn(&mut Self, u32))] = &[
                $(($structure, $path, |offsets, value| offsets.$field = value)),+
            ];
        }
    };
}

offsets! {
    task_pid: "task_struct"."pid",
    task_tgid: "task_struct"."tgid",
    task_files: "task_struct"."files",
    files_fdt: "files_struct"."fdt",
    fdt_fd: "fdtable"."fd",
    file_private_data: "file"."private_data",
    file_flags: "file"."f_flags",
    socket_file: "socket"."file",
    socket_sk: "socket"."sk",
    socket_type: "socket"."type",
    skc_family: "sock_common"."skc_family",
    inet_sport: "inet_sock"."inet_sport",
    skc_state: "sock_common"."skc_state",
    sk_err: "sock"."sk_err",
    sk_ack_backlog: "sock"."sk_ack_backlog",
    tcp_copied_seq: "tcp_sock"."copied_seq",
    tcp_rcv_nxt: "tcp_sock"."rcv_nxt",
    tcp_write_seq: "tcp_sock"."write_seq",
    tcp_snd_una: "tcp_sock"."snd_una",
    skc_dport: "sock_common"."skc_dport",
    skc_daddr: "sock_common"."skc_daddr",
    skc_v6_daddr: "sock_common"."skc_v6_daddr",
    sk_receive_queue: "sock"."sk_receive_queue",
    skb_head_qlen: "sk_buff_head"."qlen",
    sk_socket: "sock"."sk_socket",
    socket_inode: "socket_alloc"."vfs_inode",
    unix_addr: "unix_sock"."addr",
    unix_peer: "unix_sock"."peer",
    unix_name_len: "unix_address"."len",
    unix_name: "unix_address"."name",
    skb_len: "sk_buff"."len",
    skb_data: "sk_buff"."data",
    file_path: "file"."f_path",
    file_inode: "file"."f_inode",
    path_mnt: "path"."mnt",
    path_dentry: "path"."dentry",
    mount_vfsmount: "mount"."mnt",
    mount_id: "mount"."mnt_id",
    vfsmount_root: "vfsmount"."mnt_root",
    dentry_parent: "dentry"."d_parent",
    dentry_name: "dentry"."d_name",
    qstr_name: "qstr"."name",
    inode_mode: "inode"."i_mode",
    inode_number: "inode"."i_ino",
    inode_nlink: "inode"."i_nlink",
    inode_generation: "inode"."i_generation",
    inode_sb: "inode"."i_sb",
    sb_dev: "super_block"."s_dev",
    task_fs: "task_struct"."fs",
    fs_pwd: "fs_struct"."pwd",
    request_queue: "request"."q",
    request_flags: "request"."cmd_flags",
    request_bytes: "request"."__data_len",
    request_start: "request"."start_time_ns",
    // Until 5.16 the request knows its disk, since 5.15 the queue.
    request_disk: "request"."rq_disk|?",
    queue_disk: "request_queue"."disk|?",
    disk_major: "gendisk"."major",
    disk_first_minor: "gendisk"."first_minor",
    lock_file: "file_lock"."c.flc_file|fl_file",
    lock_start: "file_lock"."fl_start",
    lock_end: "file_lock"."fl_end",
    // Until 6.8 members of its own.
    lock_type: "file_lock"."c.flc_type|fl_type",
    // The records of perf's tracepoints.
    record_sock: "trace_event_raw_tcp_event_sk"."skaddr|?",
    record_lock: "trace_event_raw_filelock_lock"."fl|?",
    record_lock_result: "trace_event_raw_filelock_lock"."ret|?",
    record_old_tid: "trace_event_raw_sched_process_exec"."old_pid|?",
}
