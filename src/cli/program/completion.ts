/**
 * Builds the completions of three shells from the pages of all commands. Contacts and groups are files, so the shell
 * itself lists their names.
 */
import { type Entry, formOf, isCallable, type Option, optionsOf, type Page } from './page.ts'

/** The folder of the profile, as a shell finds it. */
const HOME = '${ASFALEIA_HOME:-${XDG_CONFIG_HOME:-$HOME/.config}/asfaleia}'

type Source = 'contacts' | 'groups' | 'files'

/** The names that a shell offers for a placeholder. */
const SOURCES: Readonly<Record<string, readonly Source[]>> = {
  CONTACT: ['contacts'],
  GROUP: ['groups'],
  RECEIVER: ['contacts', 'groups', 'files'],
  NAME: ['contacts', 'groups'],
  CARD: ['files'],
  FILE: ['files'],
  FOLDER: ['files'],
  KEY: ['files'],
  PATH: ['files'],
}

function sourcesOf(placeholder: string): readonly Source[] {
  const [name = ''] = /[A-Z]+/.exec(placeholder) ?? []
  return SOURCES[name] ?? []
}

interface Shape {
  readonly verb: string | undefined
  readonly options: readonly (readonly [name: string, option: Option])[]
  /** The names that a shell offers for the words beside the options. */
  readonly sources: readonly Source[]
}

/** Returns the forms of a command, the command itself first. */
function shapesOf(page: Page): readonly Shape[] {
  return [undefined, ...Object.keys(page.verbs ?? {})].map((verb) => ({
    verb,
    options: Object.entries(optionsOf(page, verb)),
    sources: [...new Set((formOf(page, verb).words ?? []).flatMap(sourcesOf))],
  }))
}

/** Returns whether the option always takes the next word as its value. */
function takesNext({ value, implied }: Option): boolean {
  return value !== undefined && implied === undefined
}

function takesFile({ value }: Option): boolean {
  return value !== undefined && sourcesOf(value).includes('files')
}

const FOLDERS = ['contacts', 'groups'] as const

export function buildBash(entries: readonly Entry[]): string {
  const names = (options: Shape['options'], separator: string): string => options.map(([name]) => `--${name}`).join(separator)
  const cases = entries.flatMap(({ page }) =>
    shapesOf(page)
      .toReversed()
      .map(
        ({ verb, options, sources }) => `    ${verb === undefined ? `${page.name}\\ *` : `'${page.name} ${verb}'`})
      words='${names(options, ' ')}'
      verbs='${verb === undefined ? Object.keys(page.verbs ?? {}).join(' ') : ''}'
      files='${names(
        options.filter(([, option]) => takesFile(option)),
        '|',
      )}'
      values='${names(
        options.filter(([, option]) => takesNext(option)),
        '|',
      )}'
      folders='${FOLDERS.filter((each) => sources.includes(each)).join(' ')}'
      others='${sources.includes('files') ? 'files' : ''}' ;;`,
      ),
  )
  return `# bash completion of asfaleia, printed by \`asfaleia completion bash\`
_asfaleia() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} verb='' folder name
  local words='' verbs='' files='' values='' folders='' others=''
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W '${entries.map(({ page }) => page.name).join(' ')} --help --version' -- "$current")
    return
  fi
  [ "$COMP_CWORD" -gt 2 ] && verb=\${COMP_WORDS[2]}
  case "\${COMP_WORDS[1]} $verb" in
${cases.join('\n')}
  esac
  if [[ -n $files && $previous =~ ^($files)$ ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    return
  fi
  [[ -n $values && $previous =~ ^($values)$ ]] && return
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    return
  fi
  if [ "$COMP_CWORD" -eq 2 ] && [ -n "$verbs" ]; then
    mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$current")
    [ \${#COMPREPLY[@]} -gt 0 ] && return
  fi
  for folder in $folders; do
    for name in "${HOME}/$folder"/*; do
      [ -f "$name" ] || continue
      name=\${name##*/}
      [[ \${name,,} == "\${current,,}"* ]] && COMPREPLY+=("$(printf %q "$name")")
    done
  done
  if [ \${#COMPREPLY[@]} -eq 0 ] && [ -n "$others" ]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -F _asfaleia asfaleia
`
}

/** Escapes a text for single quotes in a specification of zsh's _arguments. */
function zshText(text: string): string {
  return text.replaceAll(/[[\]:\\]/g, '\\$&').replaceAll("'", "'\\''")
}

function zshOption(name: string, option: Option): string {
  const { about, value } = option
  if (value === undefined) return `'*--${name}[${zshText(about)}]'`
  const [assign, colon] = takesNext(option) ? ['=', ':'] : ['=-', '::']
  return `'*--${name}${assign}[${zshText(about)}]${colon}${zshText(value)}:${takesFile(option) ? '_files' : ' '}'`
}

function zshArguments({ options, sources }: Shape): string {
  const specs = options.map(([name, option]) => zshOption(name, option))
  const names = FOLDERS.filter((each) => sources.includes(each))
  if (names.length > 0) specs.push(`'*:name:_asfaleia_names ${names.join(' ')}'`)
  else if (sources.includes('files')) specs.push("'*:file:_files'")
  return `_arguments -s ${specs.join(' \\\n        ')}`
}

export function buildZsh(entries: readonly Entry[]): string {
  const describe = (rows: readonly (readonly [name: string, summary: string])[]): string =>
    rows.map(([name, summary]) => `'${name}:${zshText(summary)}'`).join(' ')
  const cases = entries.map(({ page }) => {
    const [own, ...verbs] = shapesOf(page)
    if (verbs.length === 0) return `    ${page.name})\n      ${zshArguments(own!)} ;;`
    const summaries = Object.entries(page.verbs ?? {}).map(([name, { summary }]) => [name, summary] as const)
    return `    ${page.name})
      if (( CURRENT == 2 )) && [[ $PREFIX != -* ]]; then
        commands=(${describe(summaries)})
        _describe command commands${isCallable(page) && own!.sources.includes('files') ? '\n        _files' : ''}
        return
      fi
      case \${words[2]} in
${verbs.map((shape) => `      ${shape.verb!})\n        shift words; (( CURRENT-- ))\n        ${zshArguments(shape)} ;;`).join('\n')}
      *)
        ${zshArguments(own!)} ;;
      esac ;;`
  })
  return `#compdef asfaleia
# zsh completion of asfaleia, printed by \`asfaleia completion zsh\`
_asfaleia_names() {
  local folder
  local -a names
  for folder in "$@"; do
    [[ $folder == (contacts|groups) ]] && names+=("${HOME}/$folder"/*(.N:t))
  done
  compadd -M 'm:{a-z}={A-Z}' -a names
  _files
}
_asfaleia() {
  local -a commands
  if (( CURRENT == 2 )); then
    commands=(${describe(entries.map(({ page, summary }) => [page.name, summary]))})
    _describe command commands
    return
  fi
  local command=\${words[2]}
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = _asfaleia ]; then _asfaleia "$@"; else compdef _asfaleia asfaleia; fi
`
}

function fishText(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}

function fishOption(name: string, option: Option): string {
  const value = takesFile(option) ? ' -r -F' : takesNext(option) ? ' -x' : ''
  return `-l ${name}${option.short === undefined ? '' : ` -s ${option.short}`}${value} -d ${fishText(option.about)}`
}

export function buildFish(entries: readonly Entry[]): string {
  const lines = entries.flatMap(({ summary, page }) => [
    `complete -c asfaleia -n __fish_use_subcommand -f -a ${page.name} -d ${fishText(summary)}`,
    ...Object.entries(page.verbs ?? {}).map(
      ([verb, { summary }]) =>
        `complete -c asfaleia -n '__asfaleia_at ${page.name}; and test (count (commandline -opc)) -eq 2' -f -a ${verb} -d ${fishText(summary)}`,
    ),
    ...shapesOf(page).flatMap(({ verb, options, sources }) => {
      const at = `complete -c asfaleia -n '__asfaleia_at ${page.name}${verb === undefined ? '' : ` ${verb}`}'`
      const isOverview = verb === undefined && page.verbs !== undefined
      const names = FOLDERS.filter((each) => sources.includes(each))
      return [
        // The verbs repeat the options that they share.
        ...(isOverview && !isCallable(page) ? [] : options.map(([name, option]) => `${at} ${fishOption(name, option)}`)),
        ...(names.length > 0 ? [`${at} -a '(__asfaleia_names ${names.join(' ')})'`] : []),
      ]
    }),
  ])
  return `# fish completion of asfaleia, printed by \`asfaleia completion fish\`
function __asfaleia_at
    set -l words (commandline -opc)
    test "$words[2]" = "$argv[1]"; or return
    test (count $argv) -eq 1; or test "$words[3]" = "$argv[2]"
end
function __asfaleia_names
    set -l home $HOME/.config/asfaleia
    set -q XDG_CONFIG_HOME; and set home $XDG_CONFIG_HOME/asfaleia
    set -q ASFALEIA_HOME; and set home $ASFALEIA_HOME
    for folder in $argv
        for name in $home/$folder/*
            path basename $name 2>/dev/null; or basename $name
        end
    end
end
${lines.join('\n')}
`
}
