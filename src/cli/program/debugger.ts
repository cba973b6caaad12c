/**
 * Keeps Node's debugger shut. At SIGUSR1 Node lets every program and user of the machine debug the process, over TCP on
 * loopback. A listener for the signal prevents that. A debugger that the signal opened before is closed again; one that
 * the user asked for stays.
 */
export function shutDebugger(): void {
  process.on('SIGUSR1', () => {})
  close()
  // Node opens it at the next turn.
  setImmediate(close)
}

function close(): void {
  const flags = [...process.execArgv, ...(process.env['NODE_OPTIONS'] ?? '').split(/\s+/)]
  if (flags.some((flag) => flag.startsWith('--inspect') || flag === '--disable-sigusr1')) return
  const inspector = process.getBuiltinModule?.('node:inspector')
  if (inspector?.url() !== undefined) inspector.close()
}
