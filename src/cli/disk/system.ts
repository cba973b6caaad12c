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
