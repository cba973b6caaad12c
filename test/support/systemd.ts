/**
 * A machine for tests whose first process is a real systemd: a Debian in a container of systemd-nspawn, with
 * its own processes, mounts and control groups (version 2), but with the host's network and kernel. It
 * disappears with its content when it is stopped or this process ends.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cached, findMirror, makeDebian, succeed } from './debian.ts'
import { type Finished, run, type RunOptions, start } from './process.ts'
import { missing } from './programs.ts'

export interface Machine {
  /** Its file system as seen inside, with the mounts in memory. */
  readonly root: string
  /** Whether its control groups limit memory, which they do not if the host uses version 1. */
  readonly limitsMemory: boolean
  /** Runs a program inside. */
  run(command: readonly string[], options?: RunOptions): Promise<Finished>
  /** Like `run`, but throws the output if the program fails. @returns its standard output */
  ask(...command: readonly string[]): Promise<string>
  /** The pid, on the host, of a unit's main process. */
  mainOf(unit: string): Promise<number>
  stop(): Promise<void>
}

/** Returns why no such machine can run here, or undefined. */
export function systemdless(): string | undefined {
  if (process.platform !== 'linux' || !existsSync('/etc/debian_version')) return 'a machine with systemd is made for tests on Debian alone'
  if (process.getuid?.() !== 0) return 'a machine with systemd takes root'
  if (findGroups() === undefined) return 'there are no control groups of version 2 here'
  return missing('systemd-nspawn', 'mmdebstrap', 'apt-get', 'nsenter', 'setpriv')
}

/** Returns the mount point of control groups of version 2. */
function findGroups(): string | undefined {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  return mounts.find((line) => / - cgroup2 /.test(line))?.split(' ')[4]
}

/**
 * @param options.packages Debian packages besides systemd. @param options.prepare changes the file system
 * before the start
 * @param options.mounts host folders by their place inside, where they are read-only
 */
export async function bootMachine(options: {
  readonly packages: readonly string[]
  readonly mounts: Readonly<Record<string, string>>
  readonly prepare: (root: string) => void
}): Promise<Machine> {
  const made = await cached('asfaleia-systemd', async (folder) =>
    makeDebian(join(folder, 'debian.tar'), await findMirror(), ['systemd', 'systemd-sysv', ...options.packages]),
  )
  const folder = mkdtempSync(join(tmpdir(), 'asf-sd-'))
  const group = join(findGroups()!, `asfaleia-${process.pid}-${Date.now()}`)
  const root = join(folder, 'root')
  mkdirSync(root)
  await succeed('tar', '-C', root, '--exclude=./dev/*', '-xf', join(made, 'debian.tar'))
  options.prepare(root)
  mkdirSync(group)
  const binds = Object.entries(options.mounts).map(([inside, outside]) => `--bind-ro=${outside}:${inside}`)
  const nspawn = ['systemd-nspawn', '--quiet', '--keep-unit', '--register=no', `--directory=${root}`, '--boot', '--console=pipe']
  // Without that permission, a unit silently gets no network of its own.
  const rights = ['--capability=CAP_NET_ADMIN', '--kill-signal=SIGRTMIN+3']
  const enter = `echo $$ > ${join(group, 'cgroup.procs')} && exec setpriv --pdeathsig TERM "$@"`
  const machine = start(['sh', '-c', enter, 'sh', ...nspawn, ...rights, ...binds], { env: { UNIFIED_CGROUP_HIERARCHY: '1' } })
  let over = false
  void machine.finished.then(() => (over = true))
  const stop = async (): Promise<void> => {
    const first = firstOf(machine.pid)
    // Everything inside may be lost.
    if (!over && first !== undefined) process.kill(first, 'SIGKILL')
    await machine.end()
    await removeGroup(group)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    for (;;) {
      if (over) throw new Error(`systemd-nspawn ended: ${JSON.stringify(await machine.finished)}`)
      const first = firstOf(machine.pid)
      if (first !== undefined) {
        const { stdout, stderr } = await inside(first, ['systemctl', 'is-system-running', '--wait'])
        if (stdout.trim() === 'running') return createMachine(first, stop)
        // systemd does not listen yet, or is still starting.
        if (!/^(?:offline|starting|initializing|unknown|)$/.test(stdout.trim())) throw new Error(`systemd is ${stdout}${stderr}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function createMachine(first: number, stop: () => Promise<void>): Machine {
  const root = `/proc/${first}/root`
  const ask: Machine['ask'] = async (...command) => {
    const { code, stdout, stderr } = await inside(first, command)
    if (code !== 0) throw new Error(`${command.join(' ')}: ${stdout}${stderr}`)
    return stdout
  }
  return {
    root,
    limitsMemory: /\bmemory\b/.test(readFileSync(`${root}/sys/fs/cgroup/cgroup.controllers`, 'utf8')),
    run: (command, more) => inside(first, command, more),
    ask,
    async mainOf(unit) {
      const group = (await ask('systemctl', 'show', '--property', 'ControlGroup', '--value', unit)).trim()
      return Number(readFileSync(join(findGroups()!, groupOf(first), group, 'cgroup.procs'), 'utf8').split('\n')[0])
    },
    stop,
  }
}

/** Returns the first process of the machine once it exists. */
function firstOf(nspawn: number): number | undefined {
  try {
    const [child = ''] = readFileSync(`/proc/${nspawn}/task/${nspawn}/children`, 'utf8').trim().split(' ')
    // The first child of nspawn sets up the container; inside, it has number 1.
    return child !== '' && numberInside(child) === '1' && /systemd|init/.test(readFileSync(`/proc/${child}/comm`, 'utf8'))
      ? Number(child)
      : undefined
  } catch {
    return undefined
  }
}

/** Returns a process's number in its own namespace. */
function numberInside(pid: string): string | undefined {
  try {
    return /^NSpid:.*\s(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  } catch {
    return undefined
  }
}

/** Returns the machine's own control group; its first process is in `init.scope` below it. */
function groupOf(first: number): string {
  return /^0::(.*)\/init\.scope$/m.exec(readFileSync(`/proc/${first}/cgroup`, 'utf8'))![1]!
}

const inside = (first: number, command: readonly string[], options?: RunOptions): Promise<Finished> =>
  run(['nsenter', '--target', String(first), '--all', '--wdns=/', ...command], options)

/** Removes a group, which is possible only once no process is in it or below it. */
async function removeGroup(group: string): Promise<void> {
  for (const entry of readdirSync(group, { withFileTypes: true })) if (entry.isDirectory()) await removeGroup(join(group, entry.name))
  for (;;) {
    try {
      return rmdirSync(group)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

/** Writes a file into a file system before its start. */
export function place(root: string, path: string, text: string): void {
  mkdirSync(join(root, path, '..'), { recursive: true })
  writeFileSync(join(root, path), text)
}
