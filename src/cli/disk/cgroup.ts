/** The memory limit that the control groups of this process set. Reads both versions of cgroup. */

/** Limits from here on are none: the kernel writes such a number for a group without a limit (version 1). */
const NO_LIMIT = 2 ** 60

/**
 * Returns the lowest limit in bytes of the process's group and those above it; undefined without a limit.
 * @param read returns a file's text; undefined if it cannot be read
 */
export function readMemoryLimit(read: (path: string) => string | undefined): number | undefined {
  const groups = read('/proc/self/cgroup') ?? ''
  const limits = [
    ...limitsAlong('/sys/fs/cgroup', /^0::(\/.*)$/m.exec(groups)?.[1], 'memory.max', read),
    ...limitsAlong('/sys/fs/cgroup/memory', /^\d+:(?:\S+,)?memory(?:,\S+)?:(\/.*)$/m.exec(groups)?.[1], 'memory.limit_in_bytes', read),
  ]
  return limits.length === 0 ? undefined : Math.min(...limits)
}

function limitsAlong(root: string, path: string | undefined, name: string, read: (path: string) => string | undefined): number[] {
  if (path === undefined) return []
  const parts = path.split('/').filter((part) => part !== '')
  // In a container, the path may be that of the machine, while the container's own group is mounted at the root.
  return [...parts.keys(), parts.length].flatMap((depth) => {
    const text = read([root, ...parts.slice(0, depth), name].join('/'))?.trim() ?? ''
    const limit = /^\d{1,19}$/.test(text) ? Number(text) : NO_LIMIT
    return limit < NO_LIMIT ? [limit] : []
  })
}
