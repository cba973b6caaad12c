/**
 * Follows the file that holds the onion service's name. The file may appear late. A tor whose keys were lost comes back
 * under another name. A relay that moves to another address has the address that it leaves on a second line, and
 * `asfaleia start` writes `localhost` while Tor has no network.
 */
import { readFileSync } from 'node:fs'
import { isOnionName } from '../config/value.ts'
import type { NameProblem } from '../operator/name-problem.ts'

/** tor writes its `hostname` file moments after its start. One look at the file takes about 20 microseconds. */
const LOOK_MS = 500

/** The first line is the relay's name; every further line is an onion address that the relay is leaving. */
export interface NameFile {
  readonly name: string
  readonly left: readonly string[]
}

/**
 * Reads the file now and every half second, and reports each sound content once, with the name it had before.
 * @param onProblem hears each new problem of the file, except that it is missing: it may appear late
 */
export function followNameFile(
  path: string,
  onName: (file: NameFile, former: string | undefined) => void,
  onProblem: (problem: NameProblem) => void = () => {},
): { problem(): NameProblem | undefined; stop(): void } {
  let known: string | undefined
  let text: string | undefined
  let problem: NameProblem | undefined
  const note = (found: NameProblem | undefined): void => {
    if (found !== undefined && found !== 'missing' && found !== problem) onProblem(found)
    problem = found
  }
  const look = (): void => {
    const now = readText(path)
    if ('problem' in now) return note(now.problem)
    if (now.text === text) return
    text = now.text
    const file = parseNameFile(now.text)
    note(file === undefined ? 'malformed' : undefined)
    if (file === undefined) return
    onName(file, known)
    known = file.name
  }
  const timer = setInterval(look, LOOK_MS)
  timer.unref()
  look()
  return { problem: () => problem, stop: () => clearInterval(timer) }
}

function readText(path: string): { readonly text: string } | { readonly problem: NameProblem } {
  try {
    return { text: readFileSync(path, 'latin1').trim() }
  } catch (error) {
    switch ((error as NodeJS.ErrnoException).code) {
      case 'ENOENT':
        return { problem: 'missing' }
      case 'EACCES':
      case 'EPERM':
        return { problem: 'denied' }
      default:
        return { problem: 'unreadable' }
    }
  }
}

function parseNameFile(text: string): NameFile | undefined {
  const [name = '', ...left] = text.split('\n')
  const isSound = (isOnionName(name) || name === 'localhost') && left.every((each) => isOnionName(each) && each !== name)
  return isSound ? { name, left } : undefined
}
