/** Errors of the operating system. */

/** The code of an error, such as `ENOENT`; '' if it has none. */
export function systemCode(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? ''
}

const REASONS: Readonly<Record<string, string>> = {
  EEXIST: 'it is there already',
  ENOTEMPTY: 'it is there already',
  ENOTDIR: 'it is there already, or a part of the path is no folder',
  ENOENT: 'there is no such folder',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'nothing can be written there',
  EISDIR: 'it is a folder',
  ELOOP: 'it is a symbolic link',
  ENAMETOOLONG: 'its name is too long',
  EIO: 'the disk has an error',
  EBUSY: 'it is a mount point: name a folder inside it',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk is full',
  EFBIG: 'the disk is full',
}

/** Why the system did not do something with a path, in our words. */
export function systemReason(error: unknown): string {
  return REASONS[systemCode(error)] ?? 'the system refuses'
}
