/** Describes errors of the operating system. */

/** Returns the code of an error, such as `ENOENT`; '' if it has no code. */
export function systemCode(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? ''
}

const REASONS: Readonly<Record<string, string>> = {
  EEXIST: 'it already exists',
  ENOTEMPTY: 'it already exists',
  ENOTDIR: 'part of the path is a file',
  ENOENT: 'no such file or folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the disk is read-only',
  EISDIR: 'it is a folder',
  ELOOP: 'it is a symbolic link',
  ENAMETOOLONG: 'the name is too long',
  EIO: 'the disk reported an error',
  EBUSY: 'it is a mount point; name a folder inside it',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk is full',
  EFBIG: 'the disk is full',
}

/** Explains in plain English why the system refused an operation on a path. */
export function systemReason(error: unknown): string {
  const code = systemCode(error)
  return REASONS[code] ?? (code === '' ? 'the system refused' : `the system refused (${code})`)
}

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'check the path',
  ENOTDIR: 'check the path',
  EISDIR: 'name a file in it',
  EACCES: 'check its owner and its mode with `ls -ld`',
  EPERM: 'check its owner and its mode with `ls -ld`',
  ENOSPC: 'make room on the disk',
  EDQUOT: 'make room on the disk',
  EFBIG: 'make room on the disk',
  EROFS: 'choose another place',
}

/** Returns the next step after {@link systemReason}, for the options of an error. */
export function systemHint(error: unknown): { readonly hint?: string } {
  const hint = HINTS[systemCode(error)]
  return hint === undefined ? {} : { hint }
}
