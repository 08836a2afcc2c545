// Runs jenkins/jobs.groovy with a stand-in for Job DSL: folder() and pipelineJob() with templates, configure blocks and a
// printer like the plugin's. `job_dsl.groovy SCRIPT` prints {full name: config.xml} as JSON, in the order of creation.

import groovy.json.JsonOutput
import org.codehaus.groovy.control.CompilerConfiguration

class Item {
    static final TEMPLATES = [
        folder: '<com.cloudbees.hudson.plugins.folder.Folder><actions/><properties/><folderViews class="a.B"/></com.cloudbees.hudson.plugins.folder.Folder>',
        pipelineJob: '''<flow-definition><actions/><description/><keepDependencies>false</keepDependencies><properties/>
            <definition class="org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition"><script/><sandbox>false</sandbox></definition>
            <triggers/></flow-definition>''',
    ]
    final Node node
    private final List<Closure> blocks = []

    Item(String kind, Closure body) {
        node = new XmlParser().parseText(TEMPLATES[kind])
        body.delegate = this
        body.resolveStrategy = Closure.DELEGATE_FIRST
        body()
        blocks.each { it.call(node) }
    }

    void configure(Closure block) {
        blocks << block
    }

    void description(String text) {
        configure { Node item -> (item.description ?: [item.appendNode('description')])[0].value = text }
    }

    String getXml() {
        def out = new StringWriter()
        def printer = new XmlNodePrinter(new PrintWriter(out), '    ')
        printer.with {
            preserveWhitespace = true
            expandEmptyElements = true
            quote = "'"
        }
        printer.print(node)
        out
    }
}

abstract class JobDsl extends Script {
    static final Map<String, String> made = [:]

    void folder(String name, Closure body) {
        made[name] = new Item('folder', body).xml
    }

    void pipelineJob(String name, Closure body) {
        made[name] = new Item('pipelineJob', body).xml
    }
}

def configuration = new CompilerConfiguration(scriptBaseClass: JobDsl.name)
new GroovyShell(JobDsl.classLoader, new Binding(), configuration).evaluate(new File(args[0]))
println JsonOutput.toJson(JobDsl.made)
