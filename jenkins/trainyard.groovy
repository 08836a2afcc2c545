// What the Jenkinsfiles share: they `load` this file and call its methods. Groovy decides when and where; what happens
// is in pipelines/, and every stage is one call of `trainyard step`. Everything here is allowed in Jenkins' script
// sandbox.
//
// A workspace holds `pipeline/` (this repository), `watched/` (the one whose pushes start the job; only Jenkins
// reads it) and `build/` (what the steps leave for Jenkins: see pipelines/build_status.py). The run itself lies in
// Trainyard's home.

import groovy.transform.Field

@Field List retryDelays = [15, 60, 240] // seconds, before a step that may succeed later is started again
@Field boolean prepared = false
@Field boolean resolved = false // the stash names the run
@Field String watched = '' // the commit at the head of the watched repository

// The first stage: checks out the watched repository, so that Jenkins knows what its next push changes, and sets up
// the agent.
void prepare() {
    prepared = true
    env.ABORTED_BY = '' // "Restart from Stage" brings along that of the other build
    dir('build') { deleteDir() } // of the previous build
    if (params.WATCHED_URL) { // first of all that may fail: Jenkins polls only what it has seen
        Map seen = [:]
        dir('watched') { seen = checkoutWatched(params.WATCHED_URL, params.WATCHED_BRANCH ?: 'main', params.WATCHED_FOLDER ?: '') }
        watched = seen.GIT_COMMIT // here: a closure would set a variable of the script instead of the field
    }
    int code = shWithRetries('pipeline/jenkins/prepare')
    if (code != 0) {
        echoExitCode(code)
        error("preparing the agent failed: ${describe(code)}")
    }
}

// A step of the run. One that fails turns its stage red; the pipeline continues with `notify`.
void perform(String name, String trigger = '') {
    if (!prepared) { resume() }
    int code = 0
    withEnv(["STEP=${name}"] + environmentOf(name, trigger)) {
        withCredentialsFor(name) { code = runStep(name) }
    }
    showOutcome()
    if (name == 'resolve') {
        stash(name: 'run', includes: 'build/run.txt', allowEmpty: true)
        resolved = true
    }
    setResult(name, code)
}

// Whether a step has something to do: not after a failure, a rejection or "nothing new".
boolean shouldRun() {
    if (params.ONLY_PREPARE) { return false }
    if (!prepared) { resume() }
    return currentBuild.currentResult == 'SUCCESS' && !fileExists('build/decided')
}

// Whether there is a run that a mail can report.
boolean hasRun() {
    if (params.ONLY_PREPARE) { return false }
    if (!prepared) { resume() }
    return fileExists('build/run.txt')
}

// A build that was aborted, or that took too long. The next build of the same commits resumes its run.
void reportAborted() {
    if (agentAnswers()) {
        if (fileExists('build/run.txt')) { mailAborted() }
        showOutcome()
    } else {
        reportFromAnotherAgent()
    }
}

// What Jenkins keeps and draws. The exit codes have set the result already: a failed test case does not change it.
void publish() {
    if (!agentAnswers()) {
        echo('the agent is out of reach: test results and report of this build are not published')
        return
    }
    junit(testResults: 'build/report/junit/*.xml', allowEmptyResults: true, skipPublishingChecks: true,
        skipMarkingBuildUnstable: true)
    archiveArtifacts(artifacts: 'build/report/**', allowEmptyArchive: true)
}

// Promotion, before a person is asked: what there is to decide about becomes name and description of the build.
void describeCandidate() {
    prepare()
    showKind('promotion')
    setResult('approve', shWithRetries('pipeline/jenkins/trainyard promote "$MODEL" "$VERSION" --here --dry-run --build build'))
    showOutcome()
}

// Promotion: `action` is promote or rollback. The approval token, when there is one, is in the environment already;
// else `approver` has approved in Jenkins. The console shows nothing of the token: `set +x` comes before it is used.
void release(String action, String approver) {
    prepare()
    String what = showKind(action == 'promote' ? 'promotion' : action) // as the record of the release has it
    String script = 'set +x; export TRAINYARD_APPROVAL="$APPROVAL"; ' +
        'pipeline/jenkins/trainyard promote "$MODEL" "$VERSION" --here --build build --by="$BY" ' +
        '${STARTED_BY:+--jenkins-user="$STARTED_BY"}'
    if (approver) { script = 'pipeline/jenkins/trainyard promote "$MODEL" "$VERSION" --here --build build --approved-by="$BY"' }
    script += ' ${ALTHOUGH:+--although="$ALTHOUGH"}'
    if (action == 'rollback') {
        script = 'pipeline/jenkins/trainyard rollback "$MODEL" --here --build build --by="$BY" ' +
            '${VERSION:+--to="$VERSION"} ${REASON:+--reason="$REASON"}'
    }
    int code = 0
    withEnv(["BY=${approver ?: startedBy() ?: 'jenkins'}", "STARTED_BY=${startedBy()}"]) {
        // A rollback to "the version before" that is repeated goes back by one more.
        boolean repeatable = action != 'rollback' || params.VERSION
        withCredentialsFor(action) {
            code = repeatable ? shWithRetries(script) : sh(script: script, returnStatus: true) as int
        }
    }
    currentBuild.description = "${what}: ${describe(code)}"
    showOutcome()
    setResult(action, code)
}

// Batch: what an earlier try of this build has made is kept.
void predictAll() {
    if (!prepared) { prepare() }
    String script = 'pipeline/jenkins/trainyard batch "$MODEL" --below "${RESUME:-$BUILD_NUMBER}" --resume ' +
        '${VERSION:+--version="$VERSION"} ${INPUT:+--input="$INPUT"} ${SHARD:+--shard="$SHARD"}'
    int code = shWithRetries(script)
    currentBuild.description = "batch ${params.MODEL}: ${describe(code)}"
    setResult('batch', code)
}

// The monitor: what is complete is checked, once; its checks are test cases, and its report is the build's.
void monitor() {
    if (!prepared) { prepare() }
    int code = 0
    withCredentialsFor('monitor') {
        code = shWithRetries('pipeline/jenkins/trainyard monitor --once --build build --junit build/report/junit/monitor.xml')
    }
    currentBuild.description = "monitor ${params.MODEL}: ${describe(code)}"
    showOutcome()
    if (code == 3) { unstable(message: 'monitor: an alarm is open') } else { setResult('monitor', code) }
}

// Whether an alarm is to be followed by a run of the dataset's pipeline that has not begun yet.
boolean isRetrainingAskedFor() {
    return !params.ONLY_PREPARE && fileExists('build/retrain/occasion.txt')
}

// Started, and not waited for. There is one run for an occasion: asked for twice, it runs once.
void retrain() {
    build(job: 'dataset', wait: false, parameters: [
        booleanParam(name: 'FORCE', value: true),
        string(name: 'REASON', value: readFile(file: 'build/retrain/reason.txt', encoding: 'UTF-8').trim()),
        string(name: 'OCCASION', value: readFile(file: 'build/retrain/occasion.txt', encoding: 'UTF-8').trim()),
    ])
}

// --- below: only for the methods above -------------------------------------------------------------------------------

// Whether the files of this workspace can be reached: a lost agent makes every step fail that needs one.
boolean agentAnswers() {
    try {
        fileExists('pipeline')
        return true
    } catch (InterruptedException stop) {
        throw stop
    // groovylint-disable-next-line CatchException
    } catch (Exception lost) { // MissingContextVariableException, IOException and others: they have no common class
        echo("the agent is out of reach: ${lost.message}")
        return false
    }
}

void mailAborted() {
    String script = 'pipeline/jenkins/trainyard step notify --build build --stopped="$STOPPED"'
    withEnv(["STOPPED=${env.ABORTED_BY ?: 'aborted'}, ${env.BUILD_URL ?: env.BUILD_TAG}"]) {
        withCredentialsFor('notify') {
            int code = sh(script: script, returnStatus: true)
            if (code != 0) { echo("notify: ${describe(code)}") }
        }
    }
}

// The agent of an aborted build is lost: another one with its label sends the mail, or the same one if it returns soon.
void reportFromAnotherAgent() {
    if (!resolved) { return }
    String why = env.ABORTED_BY ?: 'aborted'
    try {
        timeout(time: 5, unit: 'MINUTES') {
            node(params.AGENT ?: '') {
                dir('pipeline') { checkout(scm: scm, poll: false, changelog: false) }
                dir('build') { deleteDir() }
                unstash('run')
                if (sh(script: 'pipeline/jenkins/prepare', returnStatus: true) != 0) { error('it cannot be prepared') }
                mailAborted()
                showOutcome()
            }
        }
    // groovylint-disable-next-line CatchException
    } catch (Exception failed) { // also when the time is over
        echo("no other agent could send the mail: ${failed.message}")
        currentBuild.description = "${why}, while the agent was out of reach: no mail was sent; the next build resumes the run"
    }
}

// Name and kind of a promotion's build, before there is more to say.
String showKind(String kind) {
    String what = "${kind} ${params.MODEL} ${params.VERSION}".trim()
    currentBuild.displayName = "#${env.BUILD_NUMBER} ${what}"
    return what
}

Map checkoutWatched(String url, String branch, String folder) {
    Map repository = [
        name: 'origin',
        url: url,
        refspec: "+refs/heads/${branch}:refs/remotes/origin/${branch}",
        credentialsId: params.GIT_CREDENTIALS ?: '',
    ]
    List extensions = [cloneOption(shallow: !folder, depth: folder ? 0 : 1, noTags: true, honorRefspec: true, reference: '')]
    if (folder) { // Jenkins compares the commits that it has: only those that change a file below the folder start a build
        String region = '\\Q' + folder + '\\E/.*'
        extensions << [$class: 'PathRestriction', includedRegions: region, excludedRegions: '']
    }
    return checkout(scm: scmGit(
        branches: [[name: "refs/heads/${branch}"]],
        extensions: extensions,
        userRemoteConfigs: [repository]
    ), poll: true, changelog: true)
}

// "Restart from Stage": the stages before belong to another build, and so may the files of this workspace. Jenkins
// keeps that build's stash, which names the run; without it the step fails with a hint.
void resume() {
    prepare()
    catchError(buildResult: 'SUCCESS', stageResult: 'SUCCESS', catchInterruptions: false) { unstash('run') }
}

// Variables for the shell: values reach it in its environment, never in the text of a command.
List environmentOf(String name, String trigger) {
    if (name != 'resolve') { return [] }
    boolean scheduled = !currentBuild.getBuildCauses('hudson.triggers.TimerTrigger$TimerTriggerCause').isEmpty()
    return [
        "TRIGGER=${trigger}",
        "COMMIT=${params.COMMIT ?: watched}",
        "FORCE=${params.FORCE || scheduled ? 'yes' : ''}",
        "REASON=${params.REASON ?: (scheduled ? 'scheduled' : '')}",
        "OCCASION=${params.OCCASION ?: ''}",
        "STARTED_BY=${params.OCCASION ? 'the monitor' : startedByOtherThanPush()}",
    ]
}

int runStep(String name) {
    try {
        if (name == 'resolve') {
            return shWithRetries('pipeline/jenkins/trainyard step resolve --build build --trigger "$TRIGGER" ' +
                '${COMMIT:+--commit="$COMMIT"} ${FORCE:+--force} ${REASON:+--reason="$REASON"} ' +
                '${STARTED_BY:+--started-by="$STARTED_BY"} ${OCCASION:+--occasion="$OCCASION"}')
        }
        return shWithRetries('pipeline/jenkins/trainyard step "$STEP" --build build')
    } catch (InterruptedException stop) { // by a person or by a time-out: `reportAborted` says by whom
        env.ABORTED_BY = stop.message
        throw stop
    }
}

// The script's exit code; 75 means that the same may succeed later.
int shWithRetries(String script) {
    int code = sh(script: script, returnStatus: true)
    for (int seconds in retryDelays) {
        if (code != 75) { return code }
        echo("exit code 75, may succeed later: retrying in ${seconds} s")
        sleep(time: seconds, unit: 'SECONDS')
        code = sh(script: script, returnStatus: true)
    }
    return code
}

void setResult(String name, int code) {
    if (code == 3) {
        unstable(message: "${name}: ${describe(code)}")
    } else if (code != 0) {
        echoExitCode(code)
        catchError(buildResult: 'FAILURE', stageResult: 'FAILURE', catchInterruptions: false) {
            error("${name}: ${describe(code)}")
        }
    }
}

// For `trainyard jenkins trigger --wait` and `promote`, which end with the code of the last such line.
void echoExitCode(int code) { echo("trainyard: exit ${code}") }

String describe(int code) {
    if (code == 0) { return 'done' }
    if (code == 1) { return 'a bug in Trainyard; the traceback is in the console (exit code 1)' }
    if (code == 2) { return 'a person must change something; see the error in the console (exit code 2)' }
    if (code == 3) { return 'rejected; see the reasons in the console (exit code 3)' }
    if (code == 75) { return 'may succeed later; start the build again (exit code 75)' }
    return "ended with exit code ${code}"
}

// Name and description of the build, as the step has written them.
void showOutcome() {
    if (fileExists('build/name.txt')) {
        currentBuild.displayName = "#${env.BUILD_NUMBER} ${readFile(file: 'build/name.txt', encoding: 'UTF-8').trim()}"
    }
    if (fileExists('build/description.txt')) {
        currentBuild.description = readFile(file: 'build/description.txt', encoding: 'UTF-8').trim()
    }
}

// Each step sees only the credentials that it needs.
void withCredentialsFor(String name, Closure body) {
    List bound = []
    // A promotion measures the version beside another one that has become live meanwhile, on the files of its commits.
    if (params.GIT_CREDENTIALS && ['resolve', 'fetch', 'promote'].contains(name)) {
        bound.add(gitUsernamePassword(credentialsId: params.GIT_CREDENTIALS, gitToolName: 'Default'))
    }
    if (params.SMTP_CREDENTIALS && ['notify', 'promote', 'rollback', 'monitor'].contains(name)) {
        bound.add(string(credentialsId: params.SMTP_CREDENTIALS, variable: 'TRAINYARD_SMTP_PASSWORD'))
    }
    if (bound.isEmpty()) { body() } else { withCredentials(bound) { body() } }
}

String startedBy() {
    List causes = currentBuild.getBuildCauses('hudson.model.Cause$UserIdCause')
    return causes.isEmpty() ? '' : causes.get(0).userId ?: ''
}

// For mail and report. A person counts more than what else has joined the same build; Jenkins' own words for all that is
// neither a person, the timer nor a push that was seen by polling: "Started by GitHub push by alice".
String startedByOtherThanPush() {
    if (currentBuild.getBuildCauses('hudson.model.Cause$UserIdCause')) { return "${startedBy()}, in Jenkins" }
    if (currentBuild.getBuildCauses('hudson.triggers.TimerTrigger$TimerTriggerCause')) { return 'the schedule' }
    List causes = currentBuild.getBuildCauses()
    if (causes.isEmpty() || currentBuild.getBuildCauses('hudson.triggers.SCMTrigger$SCMTriggerCause')) { return '' }
    String words = causes.get(0).shortDescription
    return words.startsWith('Started by ') ? words.substring('Started by '.length()) : words
}

return this
